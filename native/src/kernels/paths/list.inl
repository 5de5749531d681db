// list.inl: the kernel paths, best first: KERNEL_PATH(name, whether this processor can run it, its loops for bfloat16
// if the processor can run these). Each has a file of its name in this folder.
#if defined(__x86_64__)
KERNEL_PATH(avx512, RUNS("avx512f") && RUNS("avx512bw") && RUNS("avx512dq") && RUNS("avx512vl"),
            RUNS("avx512bf16") ? &avx512::conv16_bfloat16 : nullptr)
KERNEL_PATH(avx2, RUNS("avx2") && RUNS("fma"), nullptr)
#endif
KERNEL_PATH(portable, true, nullptr)
