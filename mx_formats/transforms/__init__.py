"""What makes narrow formats lose less: rotation, clipping, reordering, outliers kept apart, lossless coding."""
