"""The memory planner: what a training needs on each GPU, how long it takes, and which options fit."""
