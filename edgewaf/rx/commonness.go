package rx

// letters is how many thousandths of the bytes of requests each letter is, roughly: those
// of English text, with a little more of x, j, q and z, which are in names and codes.
var letters = [26]int{65, 14, 26, 32, 95, 18, 16, 40, 57, 4, 8, 33, 22, 57, 60, 20, 3, 50, 53, 72, 24, 9, 15, 5, 14, 4}

// commonness is how many thousandths of the bytes of requests are a byte, roughly.
func commonness(b byte) int {
	switch {
	case b >= 'a' && b <= 'z':
		return letters[b-'a']
	case b >= 'A' && b <= 'Z':
		return 1 + letters[b-'A']/8
	case b >= '0' && b <= '9':
		return 12
	case b == ' ':
		return 100
	}
	switch b {
	case '/', '.', ',', '-', '_', '=', '"', ':', '%', '&', ';', '+':
		return 12
	case '\n', '(', ')', '{', '}', '[', ']', '\'', '?', '*':
		return 5
	case 0:
		return 0
	}
	return 1
}
