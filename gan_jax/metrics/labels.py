"""What is measured by the labels of records, of which some may have none (-1)."""


def agreement(said, y):
    """Return the share of the records with a label y [n] for which said [n] is that label."""
    return ((said == y) & (y >= 0)).sum() / (y >= 0).sum()
