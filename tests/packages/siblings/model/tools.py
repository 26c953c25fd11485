def tool(value):
    return value
