"""Work in groups: the next group is prepared in threads while the present one is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prepared_groups"]

Source = TypeVar("Source")
Prepared = TypeVar("Prepared")


def prepared_groups(
    sources: Iterable[Source],
    prepare: Callable[[Source], Prepared],
    *,
    group_size: int,
    threads: int,
    ahead: int = 1,
) -> Iterator[list[Prepared]]:
    """Prepare sources in threads and hand them on in groups, in their order.

    At most `ahead + 1` groups exist at a time, so that memory does not grow with the number of sources.

    Args:
        sources: Any number; read lazily. Their exceptions are raised when all groups before are handed on.
        prepare: Called in a thread, once a source. Its exceptions are raised here, at the source's turn.
        group_size: Sources in a group; the last group may be smaller.
        threads: That prepare at the same time.
        ahead: Groups that are prepared beyond the present one.
    """
    groups = _grouped(sources, group_size)
    with ThreadPoolExecutor(threads, thread_name_prefix="braintumor-prepare") as pool:
        waiting: deque[list[Future[Prepared]]] = deque()
        try:
            failure = None
            while True:
                try:
                    group = next(groups)
                except StopIteration:
                    break
                except Exception as error:  # noqa: BLE001 - of the caller's own iterator; raised below
                    failure = error
                    break
                waiting.append([pool.submit(prepare, source) for source in group])
                if len(waiting) > ahead:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
            if failure is not None:
                raise failure
        finally:
            # The caller stopped early, or an error: futures that have not begun need not begin.
            for future in (future for futures in waiting for future in futures):
                future.cancel()


def _grouped(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    group: list[Source] = []
    try:
        for source in sources:
            group.append(source)
            if len(group) == size:
                yield group
                group = []
    except GeneratorExit:
        raise
    except BaseException:
        if group:
            yield group
        raise
    if group:
        yield group
