"""Is a download possible at all? tfds retries for minutes where there is no network, so it is asked only after this."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit


def unreachable(urls: Iterable[str], seconds: float = 5.0) -> str | None:
    """The first host of these addresses that does not answer within the time, proxies honoured; None if all do."""
    first = {urlsplit(url).netloc: url for url in reversed(list(urls))}
    answered: dict[str, bool] = {}

    def ask(host: str, url: str) -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method='HEAD'), timeout=seconds).close()
            answered[host] = True
        except urllib.error.HTTPError as error:
            # 405 and the like come from the host itself: it is there, only not fond of HEAD.
            answered[host] = error.code in (400, 401, 403, 405, 429, 501)
        except (OSError, ValueError):
            answered[host] = False

    # A name server may stay silent longer than any socket's timeout: wait for threads, and leave them behind.
    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in first.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return next((host for host in first if not answered.get(host)), None)
