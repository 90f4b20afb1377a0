"""Tokens made by the real issuer of the old application, djangorestframework-simplejwt, open sockets."""

import django
import pytest
import websockets
from django.conf import settings

from conftest import SECRET, receive

if not settings.configured:
    settings.configure(SECRET_KEY=SECRET, INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"], USE_TZ=True)
    django.setup()

from rest_framework_simplejwt.tokens import AccessToken, RefreshToken  # noqa: E402

pytestmark = pytest.mark.asyncio


def issued(kind, user_id):
    made = kind()
    made["user_id"] = user_id
    return str(made)


@pytest.mark.parametrize("user_id", [42, "42"])
async def test_an_access_token_opens_a_socket_and_its_user_is_a_string(server, user_id):
    socket = await websockets.connect(f"{server.chat}?token={issued(AccessToken, user_id)}")
    first = await receive(socket)
    assert first == {"type": "connection_established", "user_id": "42", "channels_subscribed": 0}
    await socket.close()


async def test_a_header_carries_the_token_too(server):
    headers = {"Authorization": f"Bearer {issued(AccessToken, 43)}"}
    async with websockets.connect(server.chat, additional_headers=headers) as socket:
        assert (await receive(socket))["user_id"] == "43"


async def test_a_refresh_token_opens_nothing(server):
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{server.chat}?token={issued(RefreshToken, 42)}")
    assert refused.value.response.status_code == 403
