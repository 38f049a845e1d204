//! What a module sees: arguments, environment, the standard streams and its end (WASI preview 1). A handler for all of WASI
//! takes these functions from a crate such as wasmi_wasi.

use std::io::{Read, Write};

use wasmi::{Caller, Error, Extern, Linker, Memory};

/// The module of these functions.
const WASI: &str = "wasi_snapshot_preview1";

/// Numbers of WASI (`errno` in its documentation).
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const FAULT: i32 = 21;
const IO: i32 = 29;

type Call<'a> = Caller<'a, ()>;

/// A function that has nothing to say but its number, or the number of its failure.
fn number(result: Result<(), i32>) -> i32 {
    result.err().unwrap_or(SUCCESS)
}

/// Adds all functions.
pub(crate) fn define(linker: &mut Linker<()>) -> Result<(), Error> {
    linker.func_wrap(WASI, "args_sizes_get", |mut call: Call<'_>, count: i32, bytes: i32| {
        number(sizes(&mut call, &arguments(), count, bytes))
    })?;
    linker.func_wrap(WASI, "args_get", |mut call: Call<'_>, pointers: i32, bytes: i32| {
        number(texts(&mut call, &arguments(), pointers, bytes))
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut call: Call<'_>, count: i32, bytes: i32| {
        number(sizes(&mut call, &environment(), count, bytes))
    })?;
    linker.func_wrap(WASI, "environ_get", |mut call: Call<'_>, pointers: i32, bytes: i32| {
        number(texts(&mut call, &environment(), pointers, bytes))
    })?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut call: Call<'_>, stream: i32, vectors: i32, count: i32, written: i32| {
            number(write(&mut call, stream, (vectors, count), written))
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_read",
        |mut call: Call<'_>, stream: i32, vectors: i32, count: i32, read: i32| {
            number(self::read(&mut call, stream, (vectors, count), read))
        },
    )?;
    linker
        .func_wrap(WASI, "proc_exit", |status: i32| -> Result<(), Error> { Err(Error::i32_exit(status)) })?;
    Ok(())
}

fn arguments() -> Vec<String> {
    std::env::args().collect()
}

fn environment() -> Vec<String> {
    std::env::vars().map(|(name, value)| format!("{name}={value}")).collect()
}

fn memory(call: &Call<'_>) -> Result<Memory, i32> {
    call.get_export("memory").and_then(Extern::into_memory).ok_or(FAULT)
}

/// A pointer or a length of the module: they have no sign.
fn place(number: i32) -> usize {
    number as u32 as usize
}

fn put(call: &mut Call<'_>, at: i32, bytes: &[u8]) -> Result<(), i32> {
    memory(call)?.write(call, place(at), bytes).map_err(|_| FAULT)
}

fn put_number(call: &mut Call<'_>, at: i32, number: usize) -> Result<(), i32> {
    let number = u32::try_from(number).map_err(|_| FAULT)?;
    put(call, at, &number.to_le_bytes())
}

/// How many texts there are, and how many bytes they take with a NUL each.
fn sizes(call: &mut Call<'_>, texts: &[String], count: i32, bytes: i32) -> Result<(), i32> {
    put_number(call, count, texts.len())?;
    put_number(call, bytes, texts.iter().map(|text| text.len() + 1).sum())
}

/// The texts one after the other, and a pointer to each.
fn texts(call: &mut Call<'_>, texts: &[String], pointers: i32, bytes: i32) -> Result<(), i32> {
    let (mut pointer, mut at) = (pointers, bytes);
    for text in texts {
        put_number(call, pointer, place(at))?;
        put(call, at, text.as_bytes())?;
        at = at.wrapping_add(text.len() as i32);
        put(call, at, b"\0")?;
        (pointer, at) = (pointer.wrapping_add(4), at.wrapping_add(1));
    }
    Ok(())
}

/// The parts of memory that an array of `ciovec` names: address and length, 4 bytes each.
fn parts(call: &Call<'_>, (vectors, count): (i32, i32)) -> Result<Vec<(usize, usize)>, i32> {
    let data = memory(call)?.data(call);
    let array =
        data.get(place(vectors)..).ok_or(FAULT)?.get(..place(count).saturating_mul(8)).ok_or(FAULT)?;
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let parts: Vec<_> = array.chunks_exact(8).map(|vector| (word(vector), word(&vector[4..]))).collect();
    let inside = parts.iter().all(|(at, len)| at.checked_add(*len).is_some_and(|end| end <= data.len()));
    if inside { Ok(parts) } else { Err(FAULT) }
}

fn write(call: &mut Call<'_>, stream: i32, vectors: (i32, i32), written: i32) -> Result<(), i32> {
    let mut all = Vec::new();
    for (at, len) in parts(call, vectors)? {
        all.extend_from_slice(&memory(call)?.data(&*call)[at..at + len]);
    }
    let done = match stream {
        1 => std::io::stdout().write_all(&all).and_then(|()| std::io::stdout().flush()),
        2 => std::io::stderr().write_all(&all),
        _ => return Err(BAD_DESCRIPTOR),
    };
    done.map_err(|_| IO)?;
    put_number(call, written, all.len())
}

/// Reads into the first part that has room, as a read may.
fn read(call: &mut Call<'_>, stream: i32, vectors: (i32, i32), read: i32) -> Result<(), i32> {
    if stream != 0 {
        return Err(BAD_DESCRIPTOR);
    }
    let first = parts(call, vectors)?.into_iter().find(|(_, len)| *len > 0);
    let count = match first {
        Some((at, len)) => {
            let memory = memory(call)?;
            std::io::stdin().read(&mut memory.data_mut(&mut *call)[at..at + len]).map_err(|_| IO)?
        }
        None => 0,
    };
    put_number(call, read, count)
}
