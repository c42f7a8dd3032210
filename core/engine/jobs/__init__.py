"""Jobs: what is trained together, as pure data; what a job says and is told; and the places where jobs run."""
