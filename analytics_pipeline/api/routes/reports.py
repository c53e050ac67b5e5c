"""Reports: the list, the documents, requests for custom ones."""

from fastapi import APIRouter

router = APIRouter(prefix="/analytics", tags=["reports"])
