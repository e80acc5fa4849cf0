"""Compare the scorer with a `transformers` pipeline around a BERT-base of random weights: same texts, threads and run.

python -m benchmarks.scorer          # the same as `foreshock model bench`, and records the result
"""

from __future__ import annotations

import json

from benchmarks.recording import record
from foreshock.model.bench import bench
from foreshock.model.scorer import load_scorer

if __name__ == "__main__":
    print(json.dumps(record("scorer", "python -m benchmarks.scorer", bench(load_scorer())), indent=2))
