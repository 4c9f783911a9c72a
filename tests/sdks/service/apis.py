"""How each SDK opens a stream, as its manual has it: called with the URL of the server and a time-out, s.

Each returns what its caller reads: an iterator, or an awaitable of an asynchronous one. Clients live as long as the
process, as applications' do.
"""

import functools

ASK = "How are you?"
MODEL = "model-7"
MESSAGES = [{"role": "user", "content": ASK}]
KEY = "no-key"


@functools.cache
def client(cls, **options):
    return cls(**options)


# -- openai, 2 and 3 alike ----------------------------------------------------------------------------------


def openai_client(name, url, timeout):
    import openai

    return client(getattr(openai, name), base_url=f"{url}/v1", api_key=KEY, timeout=timeout)


def openai_chat(url, timeout, name="OpenAI"):
    chat = openai_client(name, url, timeout).chat.completions
    return chat.create(model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True})


def openai_responses(url, timeout, name="OpenAI"):
    return openai_client(name, url, timeout).responses.create(model=MODEL, input=ASK, stream=True)


# -- anthropic ----------------------------------------------------------------------------------------------


def anthropic(url, timeout, name="Anthropic"):
    import anthropic

    messages = client(getattr(anthropic, name), base_url=url, api_key=KEY, timeout=timeout).messages
    return messages.create(model=MODEL, messages=MESSAGES, max_tokens=99, stream=True)


# -- google-genai -------------------------------------------------------------------------------------------


@functools.cache
def google_client(url, timeout):
    from google import genai

    options = {"base_url": url, "timeout": int(timeout * 1000), "retry_options": {"attempts": 2, "initial_delay": 0.1}}
    return genai.Client(api_key=KEY, http_options=options)


def google(url, timeout):
    return google_client(url, timeout).models.generate_content_stream(model=MODEL, contents=ASK)


def google_async(url, timeout):
    return google_client(url, timeout).aio.models.generate_content_stream(model=MODEL, contents=ASK)


# -- cohere, mistralai, ollama ------------------------------------------------------------------------------


def cohere(url, timeout, name="ClientV2"):
    import cohere

    chat = client(getattr(cohere, name), base_url=url, api_key=KEY, timeout=timeout)
    return chat.chat_stream(model=MODEL, messages=MESSAGES)


async def cohere_async(url, timeout):
    return cohere(url, timeout, "AsyncClientV2")


@functools.cache
def mistral_client(url, timeout):
    from mistralai.client import Mistral
    from mistralai.client.utils import BackoffStrategy, RetryConfig

    retries = RetryConfig("backoff", BackoffStrategy(100, 200, 1.5, 2000), retry_connection_errors=False)
    return Mistral(server_url=url, api_key=KEY, timeout_ms=int(timeout * 1000), retry_config=retries)


def mistral(url, timeout):
    return mistral_client(url, timeout).chat.stream(model=MODEL, messages=MESSAGES)


def mistral_async(url, timeout):
    return mistral_client(url, timeout).chat.stream_async(model=MODEL, messages=MESSAGES)


def ollama(url, timeout, name="Client"):
    import ollama

    return client(getattr(ollama, name), host=url, timeout=timeout).chat(model=MODEL, messages=MESSAGES, stream=True)


# -- litellm ------------------------------------------------------------------------------------------------


def litellm(url, timeout, vendor, name="completion"):
    import litellm

    litellm.suppress_debug_info = True
    base = f"{url}/v1" if vendor == "openai" else url
    options = {"api_base": base, "api_key": KEY, "timeout": timeout, "num_retries": 1}
    ask = {"messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    return getattr(litellm, name)(model=f"{vendor}/{MODEL}", **ask, **options)


# -- boto3 --------------------------------------------------------------------------------------------------


@functools.cache
def bedrock_client(url, timeout):
    import boto3
    from botocore.config import Config

    config = Config(read_timeout=timeout, retries={"mode": "standard"})
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY, "region_name": "us-east-1"}
    return boto3.client("bedrock-runtime", endpoint_url=url, config=config, **keys)


def bedrock(url, timeout):
    ask = [{"role": "user", "content": [{"text": ASK}]}]
    return bedrock_client(url, timeout).converse_stream(modelId=MODEL, messages=ask)["stream"]


# -- by hand ------------------------------------------------------------------------------------------------

BODY = {"model": MODEL, "messages": MESSAGES, "stream": True}


def requests(url, timeout):
    import requests

    return client(requests.Session).post(f"{url}/v1/chat/completions", json=BODY, stream=True, timeout=timeout)


class Lines:
    """The lines of an aiohttp response, which is no iterator itself."""

    def __init__(self, response):
        self._response = response
        self.close = response.close

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()

    def __aiter__(self):
        return aiter(self._response.content)


async def aiohttp(url, timeout):
    import aiohttp

    session = client(aiohttp.ClientSession)
    patience = aiohttp.ClientTimeout(sock_read=timeout)
    return Lines(await session.post(f"{url}/v1/chat/completions", json=BODY, timeout=patience))


def of(function, *args):
    return functools.partial(_last, function, *args)


def _last(function, *args):
    *options, url, timeout = args
    return function(url, timeout, *options)


SYNC = {
    "openai chat": openai_chat,
    "openai responses": openai_responses,
    "anthropic": anthropic,
    "google-genai": google,
    "cohere": cohere,
    "mistralai": mistral,
    "ollama": ollama,
    "litellm openai": of(litellm, "openai"),
    "litellm anthropic": of(litellm, "anthropic"),
    "boto3": bedrock,
    "requests": requests,
}
ASYNC = {
    "openai chat": of(openai_chat, "AsyncOpenAI"),
    "openai responses": of(openai_responses, "AsyncOpenAI"),
    "anthropic": of(anthropic, "AsyncAnthropic"),
    "google-genai": google_async,
    "cohere": cohere_async,
    "mistralai": mistral_async,
    "ollama": of(ollama, "AsyncClient"),
    "litellm openai": of(litellm, "openai", "acompletion"),
    "litellm anthropic": of(litellm, "anthropic", "acompletion"),
    "aiohttp": aiohttp,
}
