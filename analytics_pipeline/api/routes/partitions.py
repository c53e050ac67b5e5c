"""What is closed, stale or provisional."""

from fastapi import APIRouter

router = APIRouter(prefix="/analytics", tags=["partitions"])
