class Net:
    def load(self, state):
        self.factor = state["factor"]

    def eval(self):
        return self

    def __call__(self, value):
        return value * self.factor
