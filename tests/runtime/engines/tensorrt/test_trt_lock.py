"""A garbage collection in the middle of a build must not free a plan of the library: it would wait for itself."""

import subprocess
import sys
from pathlib import Path

from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.tensorrt.library import TrtLibrary

_DROPPED_IN_A_CYCLE = '''
import gc, sys
from pathlib import Path
from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
from braintumor.runtime.engines.tensorrt.log import TrtLog
from braintumor.runtime.engines.tensorrt.library import load_library

class Cycle: pass

plain = TrtLog.logger

def allocating(log, trt):
    """A logger that allocates what starts a collection."""
    logger = plain(log, trt)
    log = type(logger).log
    type(logger).log = lambda *line: ([[] for _ in range(5000)], log(*line))[1]
    return logger

TrtLog.logger = allocating
library = load_library("tensorrt-rtx")
gc.collect()
gc.disable()
cycle = Cycle()
cycle.logger = plain(TrtLog(), library.trt)
cycle.runtime, cycle.itself = library.trt.Runtime(cycle.logger), cycle
del cycle
gc.enable()
build_plan(library, Path(sys.argv[1]), BuildOptions(capabilities=("SM86",)))
print("built", gc.isenabled())
'''


def test_build_plan_survives_a_garbage_collection(rtx: TrtLibrary, member: Member) -> None:
    assert rtx.names_capabilities
    command = [sys.executable, "-c", _DROPPED_IN_A_CYCLE, str(Path(member.path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "built True\n", done.stderr
