"""One quick question before anything long: does the Hub answer?"""

import threading
import urllib.error
import urllib.request
from functools import cache

PREFLIGHT_SECONDS = 2.0


def hub_answers() -> bool:
    """Say whether the Hub answers within 2 seconds; in Hugging Face's offline mode it is not asked."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)


def chain_of(error: BaseException) -> list[BaseException]:
    """Return an error and those behind it, the last raised first: a client wraps what really happened."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


@cache
def _answers(endpoint: str) -> bool:
    """Ask once a process, in a thread, because looking up a host's name has no time limit of its own."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 (the user's own endpoint)
        try:
            urllib.request.urlopen(request, timeout=PREFLIGHT_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError as answer:  # any status is an answer
            answer.close()
        except (OSError, ValueError):
            return
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(PREFLIGHT_SECONDS)
