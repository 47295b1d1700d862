fn main() {
    pare::run()
}
