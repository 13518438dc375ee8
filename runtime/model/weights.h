/* weights.h: from a file's metadata to hyper-parameters, and from its tensors to the model's
 * matrices: everything is looked up by name and checked against the shape that the hyper-parameters
 * ask for. */
#ifndef PERILUNE_MODEL_WEIGHTS_H
#define PERILUNE_MODEL_WEIGHTS_H

#include "model/model.h"

/* Reads m->hp and the geometry of m->layers (which it allocates) from m->file, whose tokenizer is
 * m->tok. m->context is what the caller asked for, or 0: it becomes what the model was trained
 * for. */
pl_code hparams_read(model *m, pl_error *e);

/* Binds every tensor of the file; one that no part of the model uses is an error, since what it
 * means would be missing. Parts of the file that a text model does not use are passed over, and
 * noted in m->skipped. Allocates m->owned and
 * the RoPE frequencies; model_free releases them. */
pl_code weights_bind(model *m, pl_error *e);

void weights_free(struct owned *o); /* what weights_bind took */

/* Brings the weights into memory, reporting progress: packed for the kernels, where those want it,
 * so that the file's own pages are not needed any more; or as they are, so that the first step does
 * not wait for the disk. m->workers is there. model_free releases m->packed. */
pl_code weights_load(model *m, const model_options *o, pl_error *e);

/* What a tensor of that name belongs to that is no part of a text model's own pass ("vision", ...);
 * NULL: nothing known. */
const char *weights_other_part(const model *m, const char *name);

#endif
