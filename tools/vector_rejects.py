def make(e):
    return []
