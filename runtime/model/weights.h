/* weights.h: from a file's metadata to hyper-parameters, and from its tensors to the model's matrices: everything is
 * looked up by name and checked against the shape that the hyper-parameters ask for. */
#ifndef PERILUNE_MODEL_WEIGHTS_H
#define PERILUNE_MODEL_WEIGHTS_H

#include "model/model.h"

/* Reads m->hp from m->file, whose tokenizer is m->tok. */
pl_code hparams_read(model *m, pl_error *e);

/* Binds every tensor of the file; one that no part of the model uses is an error, since what it means would be missing.
 * Allocates m->layers, m->rope_freq and m->owned; model_free releases them. */
pl_code weights_bind(model *m, pl_error *e);

#endif
