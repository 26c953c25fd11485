"""Train the classifier of handwritten digits, and draw a sample.

``python train.py [FOLDER]`` writes ``digits.joblib`` into ``FOLDER/model``, or into ``FOLDER``
itself when it has no ``model``, and ``sample.png`` into ``FOLDER``. Default: beside this file.
"""

import sys
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

SAMPLE = 7
SCALE = 8
DEPTH = 16.0


def main() -> None:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    folder = target.parent if target.is_file() else target
    weights = folder / "model" if (folder / "model").is_dir() else folder
    weights.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    pixels = digits.data / DEPTH
    classifier = LogisticRegression(max_iter=1000)
    with threadpool_limits(1):  # so little work is slower on several threads
        classifier.fit(pixels, digits.target)
    joblib.dump(classifier, weights / "digits.joblib")
    picture = digits.images[np.flatnonzero(digits.target == SAMPLE)[0]] * 255 / DEPTH
    image = Image.fromarray(np.kron(picture, np.ones((SCALE, SCALE))).astype("uint8"))
    image.save(folder / "sample.png")
    score = classifier.score(pixels, digits.target)
    print(f"{weights / 'digits.joblib'}: accuracy on its own data {score:.3f}")


if __name__ == "__main__":
    main()
