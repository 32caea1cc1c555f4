// The source that a target made only for its precompiled header must have.
