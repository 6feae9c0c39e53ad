"""How much is tried: so little that it is part of every test, or as much as the environment says."""

import os

INPUTS = int(os.environ.get("AUTOSHRINK_FUZZ", "96"))
FIRST_SEED = int(os.environ.get("AUTOSHRINK_FUZZ_SEED", "0"))
