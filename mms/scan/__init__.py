"""``mms scan``: what of a prefix would serve, without serving it."""
