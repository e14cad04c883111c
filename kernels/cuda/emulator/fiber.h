// Switching between stacks. On x86-64 by hand, in some 40 ns to a barrier and back; elsewhere by ucontext, which is ten
// times slower because of its two system calls per switch.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace vitrine::kernels::cuda::emulator {

#ifdef __x86_64__

struct Fiber {
  void* stack_pointer = nullptr;
};

extern "C" void vitrine_switch_stack(void** save, void* to);
asm(R"(
.text
.type vitrine_switch_stack, @function
vitrine_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size vitrine_switch_stack, .-vitrine_switch_stack
)");

inline void switch_fiber(Fiber& from, Fiber& to) noexcept {
  vitrine_switch_stack(&from.stack_pointer, to.stack_pointer);
}

/// A fiber that starts in entry(), which must never return.
inline void prepare_fiber(Fiber& fiber, void (*entry)(), std::byte* stack, std::size_t bytes) noexcept {
  auto** top = reinterpret_cast<void**>(stack + bytes) - 8;
  top[6] = reinterpret_cast<void*>(entry);  // after six registers; at the entry the stack is 8 off 16, as after a call
  top[7] = nullptr;
  fiber.stack_pointer = top;
}

#else

struct Fiber {
  ucontext_t context;
};

inline void switch_fiber(Fiber& from, Fiber& to) noexcept { swapcontext(&from.context, &to.context); }

inline void prepare_fiber(Fiber& fiber, void (*entry)(), std::byte* stack, std::size_t bytes) noexcept {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = bytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

#endif

}  // namespace vitrine::kernels::cuda::emulator
