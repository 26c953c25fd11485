import pickle


def loaded(path):
    with open(path, "rb") as file:
        return pickle.load(file)
