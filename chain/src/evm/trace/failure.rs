//! Why a frame failed, in the words of geth: tools show them.

use revm::interpreter::InstructionResult as R;

/// The words for `result`; nothing if it succeeded.
pub fn failure(result: R) -> Option<&'static str> {
    Some(match result {
        R::Stop | R::Return | R::SelfDestruct | R::Suspend => return None,
        R::Revert => "execution reverted",
        R::CallTooDeep => "max call depth exceeded",
        R::OutOfFunds => "insufficient balance for transfer",
        R::OutOfGas
        | R::MemoryOOG
        | R::MemoryLimitOOG
        | R::PrecompileOOG
        | R::InvalidOperandOOG
        | R::ReentrancySentryOOG => "out of gas",
        R::OpcodeNotFound | R::InvalidFEOpcode | R::NotActivated => "invalid opcode",
        R::CallNotAllowedInsideStatic | R::StateChangeDuringStaticCall => "write protection",
        R::InvalidJump => "invalid jump destination",
        R::StackUnderflow => "stack underflow",
        R::StackOverflow => "stack limit reached",
        R::OutOfOffset => "return data out of bounds",
        R::CreateCollision => "contract address collision",
        R::NonceOverflow => "nonce uint64 overflow",
        R::CreateContractSizeLimit => "max code size exceeded",
        R::CreateContractStartingWithEF | R::CreateInitCodeStartingEF00 => "invalid code: must not begin with 0xef",
        R::CreateInitCodeSizeLimit => "max initcode size exceeded",
        R::PrecompileError => "precompile failed",
        _ => "execution failed",
    })
}
