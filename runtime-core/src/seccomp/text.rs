//! A filter as text for people: one line an instruction, targets as line numbers.

#![expect(clippy::arithmetic_side_effects, reason = "lines of a program of at most 4096 instructions")]

use std::fmt;

use super::emit::{AND, JUMP, JUMP_EQ, JUMP_GE, JUMP_GT, JUMP_SET, LOAD, RETURN};
use super::{Filter, Instruction, OFFSET_ARCH, OFFSET_ARGUMENTS, OFFSET_NUMBER, action};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, instruction) in self.program().iter().enumerate() {
            write!(f, "{line:4}: ")?;
            write_instruction(f, line, instruction)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write_instruction(f: &mut fmt::Formatter<'_>, line: usize, instruction: &Instruction) -> fmt::Result {
    let Instruction { code, jt, jf, k } = *instruction;
    let name = match code {
        LOAD => return write!(f, "ld {}", field(k)),
        AND => return write!(f, "and {k:#x}"),
        RETURN => return write!(f, "ret {}", action::text(k)),
        JUMP => return write!(f, "ja {}", line as u64 + 1 + u64::from(k)),
        JUMP_EQ => "jeq",
        JUMP_GT => "jgt",
        JUMP_GE => "jge",
        JUMP_SET => "jset",
        _ => return write!(f, "{code:#06x} {jt} {jf} {k:#x}"),
    };
    write!(f, "{name} {k:#x}, {}, {}", line + 1 + usize::from(jt), line + 1 + usize::from(jf))
}

fn field(offset: u32) -> String {
    match offset {
        OFFSET_NUMBER => "nr".to_owned(),
        OFFSET_ARCH => "arch".to_owned(),
        _ => {
            let at = offset.wrapping_sub(OFFSET_ARGUMENTS);
            format!("arg{}.{}", at / 8, if at.is_multiple_of(8) { "low" } else { "high" })
        }
    }
}
