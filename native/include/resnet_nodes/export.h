// export.h: which symbols leave the shared library; everything else is hidden.
#pragma once

#define RESNET_NODES_API __attribute__((visibility("default")))
