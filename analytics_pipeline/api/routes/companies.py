"""Companies side by side, for operators."""

from fastapi import APIRouter

router = APIRouter(prefix="/analytics", tags=["companies"])
