"""`bt-bench accuracy`: does a bundle decide what its reference decides?"""
