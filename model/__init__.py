"""Score texts, and train the model that scores them."""

import os

# Threads of OpenMP (torch's, in training) would spin while they wait, and take the cores of whatever runs beside them.
# It is read when torch is loaded, so it is set before any module of this room can load it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
