"""Training one model in several processes with torch's own APIs, on the CPU (gloo); the study does not use it."""
