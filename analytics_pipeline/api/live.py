"""Live figures over a WebSocket."""

from fastapi import APIRouter

router = APIRouter()
