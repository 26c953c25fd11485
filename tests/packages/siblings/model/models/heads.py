def head(value):
    return value.sum()
