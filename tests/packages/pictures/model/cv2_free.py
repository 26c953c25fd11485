def sorted_by_key(value):
    return dict(sorted(value.items()))
