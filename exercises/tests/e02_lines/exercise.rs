//! 02 lines: laziness.

use wouldblock::generator::Generator;

/// Yields the lines in chunks of bytes, each without its newline. Takes no chunk before it is needed.
pub fn lines(chunks: impl Iterator<Item = Vec<u8>> + 'static) -> Generator<String> {
    todo!("lines: cut chunks, at least {}, into lines", chunks.size_hint().0)
}

/// Yields those of the lines that contain `word`.
pub fn grep(word: &'static str, lines: Generator<String>) -> Generator<String> {
    todo!("grep: look for {word} in what the {lines:?} yields")
}
