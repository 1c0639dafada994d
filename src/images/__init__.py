"""What a network sees: image format, data set, splits, transforms, batches and augmentation."""
