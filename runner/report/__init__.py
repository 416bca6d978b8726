"""Pages and sheets that show a run: the run report, render galleries, contact sheets, the loss plot."""
