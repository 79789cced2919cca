/* entry_trampoline.S - every driver name that has no hook.
 *
 * A trampoline is one jump through its slot. Until the first call the slot leads to a stub that
 * loads the name's number and enters resolve, which keeps every register that may carry an argument
 * (System V ABI for AMD64, 3.2.3), asks entry_resolve() for the function and jumps to it as if it had
 * been called in the first place.
 */
#include "hooks.h"

        .text

        .type   resolve, @function
resolve:
        .cfi_startproc
        /* Entered by a jump from a trampoline: %r11 is the number, 8(%rsp) the stack arguments. */
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $208, %rsp
        movq    %rdi, 0(%rsp)
        movq    %rsi, 8(%rsp)
        movq    %rdx, 16(%rsp)
        movq    %rcx, 24(%rsp)
        movq    %r8, 32(%rsp)
        movq    %r9, 40(%rsp)
        movq    %rax, 48(%rsp)
        movq    %r10, 56(%rsp)
        movaps  %xmm0, 64(%rsp)
        movaps  %xmm1, 80(%rsp)
        movaps  %xmm2, 96(%rsp)
        movaps  %xmm3, 112(%rsp)
        movaps  %xmm4, 128(%rsp)
        movaps  %xmm5, 144(%rsp)
        movaps  %xmm6, 160(%rsp)
        movaps  %xmm7, 176(%rsp)
        movl    %r11d, %edi
        call    entry_resolve
        movq    %rax, %r11
        movq    0(%rsp), %rdi
        movq    8(%rsp), %rsi
        movq    16(%rsp), %rdx
        movq    24(%rsp), %rcx
        movq    32(%rsp), %r8
        movq    40(%rsp), %r9
        movq    48(%rsp), %rax
        movq    56(%rsp), %r10
        movaps  64(%rsp), %xmm0
        movaps  80(%rsp), %xmm1
        movaps  96(%rsp), %xmm2
        movaps  112(%rsp), %xmm3
        movaps  128(%rsp), %xmm4
        movaps  144(%rsp), %xmm5
        movaps  160(%rsp), %xmm6
        movaps  176(%rsp), %xmm7
        leave
        .cfi_def_cfa %rsp, 8
        jmp     *%r11
        .cfi_endproc
        .size   resolve, . - resolve
        .hidden entry_resolve

/* The names that have a hook: a trampoline for one of them would be a second definition. */
#define X(name, symbol, since, null_stream, params) .set hooked_##symbol, 1;
HOOKS(X)
#undef X

        .macro  trampoline name
        .ifndef hooked_\name
        .text
        .p2align 4
        .globl  \name
        .type   \name, @function
\name:
        .cfi_startproc
        endbr64
        jmp     *entry_slots + slot * 8(%rip)
        .cfi_endproc
        .size   \name, . - \name
first_\name:
        .cfi_startproc
        endbr64
        movl    $slot, %r11d
        jmp     resolve
        .cfi_endproc
        .section .data.entry_slots, "aw", @progbits
        .quad   first_\name
        .else
        .section .data.entry_slots, "aw", @progbits
        .quad   0
        .endif
        .set    slot, slot + 1
        .endm

        .section .data.entry_slots, "aw", @progbits
        .p2align 3
        .globl  entry_slots
        .hidden entry_slots
        .type   entry_slots, @object
entry_slots:
        .set    slot, 0
#define X(name) trampoline name;
DRIVER_EXPORTS(X)
#undef X
        .section .data.entry_slots, "aw", @progbits
        .size   entry_slots, . - entry_slots

/* Marks the library as ours: nobody takes it for the real driver (driver_path.h). */
        .section .note.berth, "a", @note
        .p2align 2
        .long   6, 0, 1
        .asciz  "Berth"
        .p2align 2

        .section .note.GNU-stack, "", @progbits
