/* gate_jump.S - the driver's exports, each one jump to what implements it.
 *
 * The function behind the name cuX has the symbol sim_cuX: SIM_ENTRY() and the stubs of exports.c
 * define those. While the gate is shut each call asks gate_call() first, with every register kept
 * that may carry an argument (System V ABI for AMD64, 3.2.3), and with the caller's return address.
 */
#include "shim/exports.h"

        .text

        .type   gate_pass, @function
gate_pass:
        .cfi_startproc
        /* Entered by a jump: %r11 is the export's number, 0(%rsp) the caller's return address. */
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $192, %rsp
        movq    %rdi, 0(%rsp)
        movq    %rsi, 8(%rsp)
        movq    %rdx, 16(%rsp)
        movq    %rcx, 24(%rsp)
        movq    %r8, 32(%rsp)
        movq    %r9, 40(%rsp)
        movq    %rax, 48(%rsp)
        movq    %r11, 56(%rsp)
        movaps  %xmm0, 64(%rsp)
        movaps  %xmm1, 80(%rsp)
        movaps  %xmm2, 96(%rsp)
        movaps  %xmm3, 112(%rsp)
        movaps  %xmm4, 128(%rsp)
        movaps  %xmm5, 144(%rsp)
        movaps  %xmm6, 160(%rsp)
        movaps  %xmm7, 176(%rsp)
        movl    %r11d, %edi
        movq    8(%rbp), %rsi
        call    gate_call
        testl   %eax, %eax
        jne     1f
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
        leaq    implementations(%rip), %r11
        movq    (%r11,%r10,8), %r11
        leave
        .cfi_remember_state
        .cfi_def_cfa %rsp, 8
        jmp     *%r11
        .cfi_restore_state
1:      leave
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   gate_pass, . - gate_pass
        .hidden gate_call
        .hidden gate_is_shut

        .macro  export name
        .text
        .p2align 4
        .globl  \name
        .type   \name, @function
\name:
        .cfi_startproc
        endbr64
        cmpb    $0, gate_is_shut(%rip)
        jne     1f
        jmp     sim_\name
1:      movl    $number, %r11d
        jmp     gate_pass
        .cfi_endproc
        .size   \name, . - \name
        .hidden sim_\name
        .section .data.rel.ro.implementations, "aw", @progbits
        .quad   sim_\name
        .set    number, number + 1
        .endm

        .section .data.rel.ro.implementations, "aw", @progbits
        .p2align 3
        .type   implementations, @object
implementations:
        .set    number, 0
#define X(name) export name;
DRIVER_EXPORTS(X)
#undef X
        .section .data.rel.ro.implementations, "aw", @progbits
        .size   implementations, . - implementations

        .section .note.GNU-stack, "", @progbits
