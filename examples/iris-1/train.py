"""Train the iris classifier, version 0.0.1: logistic regression.

``python train.py [FOLDER]`` writes ``iris.joblib`` into ``FOLDER/model``, or into ``FOLDER`` itself
when it has no ``model``. Default: beside this file.
"""

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


def main() -> None:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    folder = target.parent if target.is_file() else target
    if (folder / "model").is_dir():
        folder /= "model"
    folder.mkdir(parents=True, exist_ok=True)
    flowers = load_iris()
    classifier = LogisticRegression(max_iter=1000)
    classifier.fit(flowers.data, flowers.target)
    joblib.dump(classifier, folder / "iris.joblib")
    score = classifier.score(flowers.data, flowers.target)
    print(f"{folder / 'iris.joblib'}: accuracy on its own data {score:.3f}")


if __name__ == "__main__":
    main()
