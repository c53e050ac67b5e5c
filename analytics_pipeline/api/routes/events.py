"""Recording events: one or many, with an outcome for each."""

from fastapi import APIRouter

router = APIRouter(prefix="/analytics", tags=["events"])
