/*
 * MRMR: the code and its coefficients (see mrmr/parity.h).
 *
 * What do we need? Parity blocks such that any m lost blocks can be computed
 * from m parity blocks, for every m up to 8, whichever blocks are lost. And
 * unlike a RAID, whose geometry is fixed for life, a stripe that grows, shrinks
 * and changes its redundancy while the parity of what stays in it stays valid.
 *
 * The field. Bytes are the elements of GF(2^8): polynomials over {0,1} modulo
 * x^8 + x^4 + x^3 + x^2 + 1, written 0x11d. Addition is XOR, so that adding is
 * taking away. Multiplication by a constant is linear, hence a few table
 * look-ups for 64 bytes at a time; ISA-L does that. In hexadecimal, as all
 * numbers below: 02 * 80 = 1d, and 0d * aa = 01, so 1/0d = aa.
 *
 * The condition. With the data blocks D_s and the parity blocks
 *
 *	P_r = sum over s of c(r,s) * D_s
 *
 * let m data blocks be lost, and take m parity blocks. Everything else being
 * known, that is m linear equations with m unknowns, and their matrix consists
 * of the crossings of m rows and m columns of c. So: every square sub-matrix of
 * c must be invertible.
 *
 * The matrix. Give each row r a number x_r and each slot s a number y_s, all of
 * them different. Cauchy's matrix
 *
 *	1 / (x_r + y_s)
 *
 * has that property: the determinant of the crossings of the rows R and columns
 * S is
 *
 *	product over pairs in R of (x_i + x_j)  *  the same over pairs in S
 *	-----------------------------------------------------------------
 *	      product over all r in R, s in S of (x_r + y_s)
 *
 * (Cauchy 1841; in a field of characteristic 2 there are no signs), and none of
 * the factors is zero. Multiplying a column by a constant other than zero
 * multiplies determinants by it, and keeps the property. We multiply column s
 * by x_0 + y_s, which makes row 0 all ones: the plain XOR.
 *
 *	c(r,s) = (x_0 + y_s) / (x_r + y_s)
 *
 * The coordinates. y_s = s for the 240 slots, x_r = f0 + r for the 8 rows: they
 * are the places of mrmr/parity.h. f8 to ff are free, for 8 rows more. As
 * nothing in c(r,s) depends on which other slots and rows are in use, parity
 * that was written for one set of blocks is a valid start for any other. That
 * is what the ready-made matrices of ISA-L do not give: gf_gen_cauchy1_matrix()
 * numbers its rows after its k data blocks, so another k is another code, and
 * gf_gen_rs_matrix() has singular sub-matrices in some sizes.
 *
 * THE COORDINATES ARE PART OF THE ON-DISK FORMAT. Another formula would make
 * all parity ever written worthless. tests/unit/test_parity.c holds literal
 * coefficients, which must never be adapted to the code.
 *
 * An example: the one-byte blocks 4d, 52, 21 in slots 0, 1, 2 and three rows.
 * For row 1 and slot 0, (f0 + 00) / (f1 + 00) = f0 * e7 = e6. All of them:
 *
 *	row 0:  01 01 01	P_0 = 4d + 52 + 21                = 3e
 *	row 1:  e6 e2 eb	P_1 = e6*4d + e2*52 + eb*21
 *				    = 05 + 7d + c7                = bf
 *	row 2:  76 c8 da	P_2 = e8 + e1 + 98                = 91
 *
 * The block in slot 1 leaves: P_0 = 3e + 52 = 6c, P_1 = bf + 7d = c2, and so
 * on; the blocks 4d and 21 were not looked at. plan.c goes on with this example
 * and loses two of the blocks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <isa-l.h>

#include <mrmr/parity.h>

uint8_t mrmr_parity_coefficient(unsigned int row, unsigned int slot)
{
	unsigned int x_0 = mrmr_parity_row(0);
	unsigned int x_r = mrmr_parity_row(row);
	uint8_t inverse;

	if (row >= MRMR_PARITY_ROWS || slot >= MRMR_PARITY_SLOTS) {
		return 0;
	}
	inverse = gf_inv(x_r ^ slot);
	return gf_mul(x_0 ^ slot, inverse);
}
