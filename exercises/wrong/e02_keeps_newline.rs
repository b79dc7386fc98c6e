//! says: a line comes without its newline

use wouldblock::generator::{Generator, Yielder};

/// Yields the lines in chunks of bytes, each without its newline. Takes no chunk before it is needed.
pub fn lines(chunks: impl Iterator<Item = Vec<u8>> + 'static) -> Generator<String> {
    Generator::new(move |y: &Yielder<String>| {
        let mut rest = Vec::new();
        for chunk in chunks {
            rest.extend(chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                y.yield_(text(&line));
            }
        }
        if !rest.is_empty() {
            y.yield_(text(&rest));
        }
    })
}

/// Yields those of the lines that contain `word`.
pub fn grep(word: &'static str, lines: Generator<String>) -> Generator<String> {
    Generator::new(move |y: &Yielder<String>| {
        for line in lines {
            if line.contains(word) {
                y.yield_(line);
            }
        }
    })
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
