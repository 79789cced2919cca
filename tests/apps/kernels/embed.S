/* embed.S - one PTX file as a NUL-terminated string in the program.
 *
 * PTX_NAME  the symbol, ptx_<file>; <symbol>_end stands after the terminating NUL
 * PTX_FILE  the path of the file, quoted
 */
#define PASTE(a, b) a##b
#define END_OF(name) PASTE(name, _end)

    .section .rodata
    .balign 16
    .globl  PTX_NAME
    .type   PTX_NAME, @object
PTX_NAME:
    .incbin PTX_FILE
    .byte   0
    .globl  END_OF(PTX_NAME)
END_OF(PTX_NAME):
    .size   PTX_NAME, . - PTX_NAME

    .section .note.GNU-stack, "", @progbits
