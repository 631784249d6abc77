//! Images: convolution as a product over patches, and pooling. An image is `height × width × channels`, row-major.

use super::matmul::{Left, Right, multiply, wide};

/// Square filters over an image; weights are `(row, column, channel) × filters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Numbers of a point of the image.
    pub channels: usize,
    /// Numbers of a point of what comes out.
    pub filters: usize,
    /// Rows and columns of a filter.
    pub size: usize,
    /// Points from one place of a filter to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
}

impl Convolution {
    /// Numbers that go in and come out; none if a size makes no sense.
    pub(super) fn sizes(&self) -> Option<(usize, usize)> {
        let Self { height, width, channels, filters, size, stride, padding } = *self;
        if [height, width, channels, filters, size, stride].contains(&0)
            || [height, width, channels, filters, size, stride, padding].iter().any(|&n| n > 1 << 12)
            || size > height.min(width) + 2 * padding
        {
            return None;
        }
        let (rows, columns) = self.places();
        Some((height * width * channels, rows * columns * filters))
    }

    /// Numbers under a filter.
    pub(super) fn patch(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// Rows and columns of places.
    fn places(&self) -> (usize, usize) {
        let along = |length: usize| (length + 2 * self.padding - self.size) / self.stride + 1;
        (along(self.height), along(self.width))
    }

    /// The runs of numbers that a patch and an image share: where in the patch, where in the image, how many.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { height, width, channels, size, stride, padding, .. } = *self;
        let (rows, columns) = self.places();
        (0..rows * columns).flat_map(move |place| {
            let (top, left) = (place / columns * stride, place % columns * stride);
            (0..size).filter_map(move |row| {
                let y = (top + row).checked_sub(padding).filter(|&y| y < height)?;
                let begin = left.max(padding);
                let end = (left + size).min(padding + width);
                let at = ((place * size + row) * size + begin - left) * channels;
                (begin < end).then(|| (at, (y * width + begin - padding) * channels, (end - begin) * channels))
            })
        })
    }

    /// Patches of images, a row for each place.
    pub(super) fn cut(&self, images: &[f32], patches: &mut Vec<f32>) {
        let (rows, columns) = self.places();
        let (image, each) = (self.height * self.width * self.channels, rows * columns * self.patch());
        patches.resize(images.len() / image * each, 0.0);
        let runs: Vec<_> = self.runs().collect();
        for (image, patches) in images.chunks_exact(image).zip(patches.chunks_exact_mut(each)) {
            for &(to, from, count) in &runs {
                patches[to..to + count].copy_from_slice(&image[from..from + count]);
            }
        }
    }

    /// The gradient by images of that by their patches.
    pub(super) fn paste(&self, patches: &[f32], images: &mut [f32]) {
        let (rows, columns) = self.places();
        let (image, each) = (self.height * self.width * self.channels, rows * columns * self.patch());
        images.fill(0.0);
        let runs: Vec<_> = self.runs().collect();
        wide(|| {
            for (image, patches) in images.chunks_exact_mut(image).zip(patches.chunks_exact(each)) {
                for &(from, to, count) in &runs {
                    let pairs = image[to..to + count].iter_mut().zip(&patches[from..from + count]);
                    pairs.for_each(|(image, patch)| *image += patch);
                }
            }
        });
    }

    /// The gradient of each example by weights and bias, one after the other.
    pub(super) fn gradients(&self, patches: &[f32], delta: &[f32], gradients: &mut Vec<f32>, packed: &mut Right) {
        let (rows, columns) = self.places();
        let (places, patch, filters) = (rows * columns, self.patch(), self.filters);
        let size = (patch + 1) * filters;
        gradients.resize(delta.len() / (places * filters) * size, 0.0);
        let examples = patches.chunks_exact(places * patch).zip(delta.chunks_exact(places * filters));
        for ((patches, delta), gradient) in examples.zip(gradients.chunks_exact_mut(size)) {
            let (weights, bias) = gradient.split_at_mut(patch * filters);
            wide(|| {
                packed.lay(delta, places, filters);
                bias.fill(0.0);
                for row in delta.chunks_exact(filters) {
                    bias.iter_mut().zip(row).for_each(|(bias, value)| *bias += value);
                }
            });
            multiply(Left::Columns(patches), packed, weights, false);
        }
    }
}

/// The greatest of each window of two by two points, one point apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Numbers of a point.
    pub channels: usize,
}

impl Pooling {
    /// Numbers that go in and come out; none if a size makes no sense.
    pub(super) fn sizes(&self) -> Option<(usize, usize)> {
        let Self { height, width, channels } = *self;
        let fits = height >= 2 && width >= 2 && channels > 0 && height.max(width).max(channels) <= 1 << 12;
        fits.then(|| (height * width * channels, (height - 1) * (width - 1) * channels))
    }

    /// Where a window begins in what comes out and in what goes in, and how far its other points are.
    fn windows(&self) -> (impl Iterator<Item = (usize, usize)>, [usize; 4]) {
        let Self { height, width, channels } = *self;
        let windows = (0..(height - 1) * (width - 1)).map(move |place| {
            let (row, column) = (place / (width - 1), place % (width - 1));
            (place * channels, (row * width + column) * channels)
        });
        (windows, [0, channels, width * channels, (width + 1) * channels])
    }

    /// The greatest, and which of the four it was.
    pub(super) fn forward(&self, x: &[f32], y: &mut [f32], greatest: &mut Vec<u8>) {
        let Some((inputs, outputs)) = self.sizes() else { return };
        greatest.resize(y.len(), 0);
        let images = x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)).zip(greatest.chunks_exact_mut(outputs));
        let channels = self.channels;
        wide(|| {
            for ((x, y), greatest) in images {
                let (windows, others) = self.windows();
                for (to, from) in windows {
                    let [a, b, c, d] = others.map(|other| &x[from + other..][..channels]);
                    let (y, greatest) = (&mut y[to..][..channels], &mut greatest[to..][..channels]);
                    for i in 0..channels {
                        let (top, first) = if b[i] > a[i] { (b[i], 1) } else { (a[i], 0) };
                        let (bottom, second) = if d[i] > c[i] { (d[i], 3) } else { (c[i], 2) };
                        (y[i], greatest[i]) = if bottom > top { (bottom, second) } else { (top, first) };
                    }
                }
            }
        });
    }

    /// The gradient goes to the greatest.
    pub(super) fn backward(&self, delta: &[f32], greatest: &[u8], next: &mut [f32]) {
        let Some((inputs, outputs)) = self.sizes() else { return };
        next.fill(0.0);
        let images = next.chunks_exact_mut(inputs).zip(delta.chunks_exact(outputs)).zip(greatest.chunks_exact(outputs));
        let channels = self.channels;
        wide(|| {
            for ((next, delta), greatest) in images {
                let (windows, others) = self.windows();
                for (from, to) in windows {
                    let (delta, greatest) = (&delta[from..][..channels], &greatest[from..][..channels]);
                    for (which, other) in others.into_iter().enumerate() {
                        let next = &mut next[to + other..][..channels];
                        for i in 0..channels {
                            next[i] += if usize::from(greatest[i]) == which { delta[i] } else { 0.0 };
                        }
                    }
                }
            }
        });
    }
}
