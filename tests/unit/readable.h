/* readable.h - what errors say that could have been read instead. */
#ifndef BERTH_TEST_READABLE_H
#define BERTH_TEST_READABLE_H

#define READABLE "a checkpoint file (safetensors, gguf, pytorch, pytorch-legacy)"

#endif
