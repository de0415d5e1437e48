"""Internal. One rate budget for several processes: slots reserved ahead from a shared store."""
