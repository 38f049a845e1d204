//! What a handler's program has to be, by its headers (elf(5)).

/// Why a program is refused.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) hint: Option<&'static str>,
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self { reason: reason.to_owned(), hint: None }
    }
}

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = libc::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = libc::EM_AARCH64;

const STATIC: &str =
    "link it statically: for Rust, RUSTFLAGS=\"-C target-feature=+crt-static\" and an explicit --target";

/// ELFCLASS64 and ELFDATA2LSB.
const CLASS_AND_ORDER: [u8; 2] = [2, 1];
/// ET_EXEC and ET_DYN: static programs with and without a fixed address.
const TYPES: [u16; 2] = [2, 3];
/// `sizeof(Elf64_Phdr)`.
const PROGRAM_HEADER: usize = 56;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/// Whether the kernel can execute these bytes without any file of a container: it opens none. What the program itself opens later,
/// such as the NSS libraries of glibc, its headers do not tell.
pub(super) fn check(bytes: &[u8]) -> Result<(), Refusal> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(Refusal {
            reason: "its program is not an ELF file".to_owned(),
            hint: Some("a script would be run by an interpreter of the image"),
        });
    }
    let header = Reader(bytes);
    if bytes.get(4..6) != Some(&CLASS_AND_ORDER) || header.half(18) != Some(MACHINE) {
        return Err(Refusal {
            reason: format!("its program is not for this machine ({})", std::env::consts::ARCH),
            hint: None,
        });
    }
    if !header.half(16).is_some_and(|kind| TYPES.contains(&kind)) {
        return Err("its program is an ELF file, but not an executable one".into());
    }
    let kinds = kinds(&header).ok_or("the headers of its program are broken")?;
    if kinds.contains(&PT_INTERP) {
        return Err(Refusal {
            reason: "its program is dynamically linked: the loader would be that of the image".to_owned(),
            hint: Some(STATIC),
        });
    }
    if !kinds.contains(&PT_LOAD) {
        return Err("its program has nothing to load".into());
    }
    Ok(())
}

/// The types of all program headers; `None` if they are not in the file.
fn kinds(header: &Reader<'_>) -> Option<Vec<u32>> {
    let start = usize::try_from(header.word(32)?).ok()?;
    if usize::from(header.half(54)?) != PROGRAM_HEADER {
        return None;
    }
    let count = usize::from(header.half(56)?);
    let table = header.0.get(start..start.checked_add(count * PROGRAM_HEADER)?)?;
    table.chunks_exact(PROGRAM_HEADER).map(|entry| Reader(entry).number(0)).collect()
}

/// Little-endian numbers at offsets.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn half(&self, at: usize) -> Option<u16> {
        self.take(at).map(u16::from_le_bytes)
    }

    fn number(&self, at: usize) -> Option<u32> {
        self.take(at).map(u32::from_le_bytes)
    }

    fn word(&self, at: usize) -> Option<u64> {
        self.take(at).map(u64::from_le_bytes)
    }
}
