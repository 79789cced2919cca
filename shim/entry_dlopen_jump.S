/* entry_dlopen_jump.S - dlopen() and dlmopen(): ask where to go, then go there by a jump.
 *
 * The route comes back in %rax (the path) and %rdx (the function): System V ABI for AMD64, 3.2.3. The
 * return address on the stack stays the caller's own.
 */
        .text

        .globl  dlopen
        .type   dlopen, @function
dlopen:
        .cfi_startproc
        endbr64
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        call    entry_route_dlopen
        popq    %rsi
        .cfi_adjust_cfa_offset -8
        movq    %rax, %rdi
        jmp     *%rdx
        .cfi_endproc
        .size   dlopen, . - dlopen

        .globl  dlmopen
        .type   dlmopen, @function
dlmopen:
        .cfi_startproc
        endbr64
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rax, %rsi
        call    entry_route_dlmopen
        movq    %rdx, %r11
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        movq    %rax, %rsi
        jmp     *%r11
        .cfi_endproc
        .size   dlmopen, . - dlmopen

        .hidden entry_route_dlopen
        .hidden entry_route_dlmopen
        .section .note.GNU-stack, "", @progbits
