"""Tokens of an identity provider: by its keys, issuer and audience, with the company in a claim."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.testclient import TestClient

from analytics_pipeline.api.app import create_app
from analytics_pipeline_tests.api.conftest import HEADLINE, OTHER, Served

ISSUER, AUDIENCE = "https://login.example.com/", "analytics"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ANOTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An application that takes the tokens of one identity provider."""
    keys = tmp_path_factory.mktemp("keys") / "jwks.json"
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
    keys.write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]}))
    settings = {
        "api_rate": 0.0,
        "api_jwt_keys": str(keys),
        "api_jwt_issuer": ISSUER,
        "api_jwt_audience": AUDIENCE,
        "api_jwt_operator": "roles=analytics-operator",
    }
    with TestClient(create_app(served.database.settings.model_copy(update=settings))) as client:
        yield client


def claims(**changes: object) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 300, "company_id": HEADLINE.company}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def signed(key: Any = KEY, algorithm: str = "RS256", key_id: str = "k1", **changes: object) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": key_id})


def status(client: TestClient, token: str, address: str = "/analytics/users") -> int:
    return int(client.get(address, headers={"Authorization": f"Bearer {token}"}).status_code)


def test_a_token_answers_for_the_company_of_its_claim(client: TestClient) -> None:
    answer = client.get("/analytics/users", headers={"Authorization": f"Bearer {signed()}"}).json()
    assert answer["companyId"] == HEADLINE.company
    assert status(client, signed(), f"/analytics/users?companyId={OTHER}") == 404


def test_an_operator_is_who_the_settings_say(client: TestClient) -> None:
    token = signed(company_id=None, roles=["x", "analytics-operator"])
    assert status(client, token, f"/analytics/users?companyId={OTHER}") == 200
    # A company that it names narrows it.
    token = signed(roles=["analytics-operator"])
    assert status(client, token, f"/analytics/users?companyId={OTHER}") == 404


def test_writing_needs_a_scope_that_the_token_names(client: TestClient) -> None:
    def post(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return int(client.post("/analytics/events", json=[], headers=headers).status_code)

    assert (post(signed()), post(signed(scope="openid events"))) == (403, 200)
    # The one with a blank in its name.
    for scope, may_sign in (("figures", False), ("figures sign_periods", True)):
        headers = {"Authorization": f"Bearer {signed(scope=scope)}"}
        assert client.get("/analytics/signoffs", headers=headers).json()["maySign"] is may_sign


def _none(header: dict[str, str]) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims()))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(_none({"alg": "none", "typ": "JWT"}), id="none"),
        pytest.param(_none({"alg": "None", "kid": "k1"}), id="None with a key"),
        pytest.param(signed(ANOTHER_KEY), id="another key under its name"),
        pytest.param(signed(ANOTHER_KEY, key_id="k2"), id="a key that is not there"),
        pytest.param(signed(aud="billing"), id="another audience"),
        pytest.param(signed(aud=None), id="no audience"),
        pytest.param(signed(iss="https://login.example.com.evil/"), id="another issuer"),
        pytest.param(signed(iss=None), id="no issuer"),
        pytest.param(signed(exp=int(time.time()) - 60), id="expired"),
        pytest.param(signed(exp=None), id="never expires"),
        pytest.param(signed(nbf=int(time.time()) + 3600), id="not yet"),
        pytest.param(signed(sub=None), id="nobody"),
        pytest.param(signed(company_id=None), id="no company"),
        pytest.param(signed(company_id=" "), id="a blank company"),
        pytest.param(signed(company_id=f"{HEADLINE.company}\0"), id="a company with a NUL"),
        pytest.param(signed(company_id="\ud800"), id="a company with half a character"),
        pytest.param(signed(sub="anna\0"), id="a subject with a NUL"),
        pytest.param(signed(company_id=[OTHER], roles=["analytics-operator"]), id="a list of companies"),
        pytest.param(signed()[:-4] + "AAAA", id="a broken signature"),
    ],
)
def test_a_token_that_is_not_the_provider_s_for_us_gets_no_answer(client: TestClient, token: str) -> None:
    assert status(client, token) == 401


def test_a_public_key_does_not_serve_as_a_secret(client: TestClient) -> None:
    # As whoever has read the keys would sign: PyJWT refuses to encode that.
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "k1"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    mac = hmac.new(PUBLIC_PEM, head + b"." + body, hashlib.sha256).digest()
    token = b".".join([head, body, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    assert status(client, token) == 401


def test_without_keys_no_jwt_is_taken(served: Served) -> None:
    assert status(served.client, signed()) == 401
