//! Five pictures to download, painted on the spot: real PNG and JPEG files under the article's names.

use std::io::Write;
use std::thread;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// A picture, as its file.
#[derive(Clone)]
pub struct Picture {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Picture {
    pub fn media_type(&self) -> &'static str {
        if self.name.ends_with(".png") { "image/png" } else { "image/jpeg" }
    }
}

/// Name, width and height in pixels, and two colours.
type Sketch = (&'static str, u16, u16, [u8; 3], [u8; 3]);

const PICTURES: [Sketch; 5] = [
    ("pandas-dataframe-python-1024x512.png", 1024, 512, [21, 4, 88], [255, 202, 0]),
    (
        "github-actions-deployment-to-eks-with-kustomize-1024x536.jpg",
        1024,
        536,
        [13, 17, 23],
        [88, 166, 255],
    ),
    ("boto3-s3-multipart-upload-1024x536.jpg", 1024, 536, [35, 47, 62], [255, 153, 0]),
    ("kafka-cluster-architecture.jpg", 900, 600, [20, 20, 20], [230, 230, 230]),
    ("redis-cluster-topology.png", 800, 600, [120, 12, 0], [255, 68, 56]),
];

pub fn paint_all() -> Vec<Picture> {
    let paint = |(name, width, height, from, to): &Sketch| {
        let pixels = paint(*width, *height, *from, *to, name.len() as u32);
        let bytes = match name.ends_with(".png") {
            true => png(*width, *height, &pixels),
            false => jpeg(*width, *height, &pixels),
        };
        Picture { name, bytes }
    };
    // Each on a thread of its own: the first command shows something soon, in a debug build too.
    thread::scope(|threads| {
        let painting: Vec<_> =
            PICTURES.iter().map(|sketch| threads.spawn(|| paint(sketch))).collect();
        painting.into_iter().map(|picture| picture.join().expect("it is painted")).collect()
    })
}

/// Waves between two colours, with grain, so that the files are of some size. All that can be is counted beforehand: a
/// debug build takes its time for each pixel.
fn paint(width: u16, height: u16, from: [u8; 3], to: [u8; 3], seed: u32) -> Vec<u8> {
    // Triangle waves along three directions, each of its own length.
    let wave = |at: u32, length: u32| (at % (2 * length)).abs_diff(length) * 255 / length;
    let (width, height) = (u32::from(width), u32::from(height));
    let across: Vec<_> = (0..width).map(|x| wave(x + seed, 160)).collect();
    let aslant: Vec<_> = (0..width + height).map(|both| wave(both, 200)).collect();
    let colour = |mix: u32| {
        let mixed = |n: usize| {
            let (a, b) = (u32::from(from[n]), u32::from(to[n]));
            ((a * 255_u32.saturating_sub(mix) + b * mix.min(255)) / 255) as u8
        };
        [mixed(0), mixed(1), mixed(2)]
    };
    let colours: Vec<_> = (0..=255 + GRAIN).map(colour).collect();

    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    let mut grain = seed;
    for y in 0..height {
        let down = wave(y + 2 * seed, 120);
        for (across, aslant) in across.iter().zip(&aslant[y as usize..]) {
            grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mix = ((across + down + aslant) / 3) & !15;
            let mix = if grain >> 28 == 0 { mix + GRAIN } else { mix };
            pixels.extend_from_slice(&colours[mix as usize]);
        }
    }
    pixels
}

/// How much of the other colour a grain has more, of 255.
const GRAIN: u32 = 6;

/// PNG is a few chunks around what zlib packs; each row begins with its filter, here none.
fn png(width: u16, height: u16, pixels: &[u8]) -> Vec<u8> {
    let size = [u32::from(width).to_be_bytes(), u32::from(height).to_be_bytes()].concat();
    let eight_bits_rgb = [8, 2, 0, 0, 0];
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks(usize::from(width) * 3) {
        packed.write_all(&[0]).and_then(|()| packed.write_all(row)).expect("writing to memory");
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend([kind, data].concat());
        file.extend(sum.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[&size[..], &eight_bits_rgb].concat());
    chunk(b"IDAT", &packed.finish().expect("writing to memory"));
    chunk(b"IEND", &[]);
    file
}

fn jpeg(width: u16, height: u16, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut file, 92);
    encoder.encode(pixels, width, height, jpeg_encoder::ColorType::Rgb).expect("writing to memory");
    file
}
